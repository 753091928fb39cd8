"""``setpoint init``: a commented project file from data.

``columns`` tells what each column of the file is, ``roles`` what it is for, ``text`` writes the
project file, and ``write`` holds it against the data before anything is left on disk.
"""

from setpoint.init.write import write_project

__all__ = ["write_project"]
