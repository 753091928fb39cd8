"""What stands in infra/ is what it says: schemas, least rights, pinned images."""
