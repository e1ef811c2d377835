/** Tables of devices, calls and what the coordinator is to be told. */
import type { SchemaPart } from '../ports/index.ts'

export const DEVICE_SCHEMA: SchemaPart = {
  part: 'devices',
  steps: [
    `
    CREATE TABLE devices (
      id TEXT PRIMARY KEY,
      name TEXT NOT NULL,
      added_at INTEGER NOT NULL,
      policy TEXT NOT NULL,
      credential BLOB,
      port TEXT,
      approval TEXT,
      descriptor TEXT,
      boot INTEGER,
      tele INTEGER NOT NULL DEFAULT 0
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE outbox (
      seq INTEGER PRIMARY KEY AUTOINCREMENT,
      kind TEXT NOT NULL,
      payload TEXT NOT NULL
    ) STRICT;

    CREATE TABLE calls (
      call TEXT PRIMARY KEY,
      payload TEXT NOT NULL,
      state TEXT NOT NULL,
      cmd INTEGER,
      expires_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX calls_open ON calls (state) WHERE state <> 'ended';

    CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    -- the newest part of the outbox that was given a number; up to which entry it reaches; the newest command
    INSERT INTO counters VALUES ('part', 0), ('part_to', 0), ('command', 0);
    `,
  ],
}
