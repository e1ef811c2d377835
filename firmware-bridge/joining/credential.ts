/** Credentials of devices: 128 random bits that are shown once; what is kept is their hash. */
import { createHash, pbkdf2Sync, timingSafeEqual } from 'node:crypto'
import type { Random } from '../../mesh/runtime/index.ts'

const KEY_BYTES = 16
/** Of Mosquitto's own `mosquitto_passwd`. */
const MOSQUITTO_ROUNDS = 101
const MOSQUITTO_SALT_BYTES = 12
const MOSQUITTO_HASH_BYTES = 64

/** 22 characters that need no escaping in C, URLs or MQTT. */
export const newKey = (random: Random): string => Buffer.from(random.bytes(KEY_BYTES)).toString('base64url')

/** A key has no structure to guess by: a plain hash is as good as a slow one. */
export const hashOf = (key: string | Uint8Array): Uint8Array => createHash('sha256').update(key).digest()

export const isKeyOf = (hash: Uint8Array, key: Uint8Array): boolean => timingSafeEqual(hash, hashOf(key))

/** The line of Mosquitto's `password_file` for a device. */
export function mosquittoLine(device: string, key: string, random: Random): string {
  const salt = Buffer.from(random.bytes(MOSQUITTO_SALT_BYTES))
  const hash = pbkdf2Sync(key, salt, MOSQUITTO_ROUNDS, MOSQUITTO_HASH_BYTES, 'sha512')
  return `${device}:$7$${MOSQUITTO_ROUNDS}$${salt.toString('base64')}$${hash.toString('base64')}`
}

/** The line of Mosquitto's `psk_file` for a device: what its key stands for, in hexadecimal. */
export const pskLine = (device: string, key: string): string =>
  `${device}:${Buffer.from(key, 'base64url').toString('hex')}`

/** Digits that a person reads off one screen and types at another. */
export function newCode(random: Random): string {
  return String(Math.floor(random.next() * 1_000_000)).padStart(6, '0')
}
