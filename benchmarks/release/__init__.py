"""Are requests lost while versions are released and processes die? Counted at the client.

``bench`` starts a real platform with versions to release, ``load`` holds a steady rate through
its gateway and remembers every answer, ``faulty`` runs a version that misbehaves, ``scenarios``
says what happens meanwhile, ``check`` compares the answers with the versions that they name.
"""
