"""What marks an SQLite file as a log, known without loading anything."""

APPLICATION_ID = 0x65736374  # "esct", in the file's header
STORAGE_VERSION = 1  # the file's user_version: how many migrations have shaped it
