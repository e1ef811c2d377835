/** What the bridge keeps on the disk. */
export { openDatabase, type DatabaseInit, type SqliteDatabase } from './database.ts'
export { DEVICE_SCHEMA } from './schema.ts'
export { openDeviceStore } from './sqlite-device-store.ts'
export { MemoryDeviceStore } from './memory-device-store.ts'
export * from './device-store.ts'
