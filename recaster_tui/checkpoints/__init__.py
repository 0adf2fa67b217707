"""Models on disk, without torch: generations, backups, named snapshots, the lock."""
