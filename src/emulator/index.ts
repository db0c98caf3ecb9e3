/**
 * A local OSS for tests, demos and benchmarks.
 * @module oss-spool/emulator
 */
export { describe } from './describe.js'
export { startEmulator, type ClientOptions, type Emulator } from './emulator.js'
export { DEFAULT_KEY, type EmulatorOptions } from './options.js'
export type { AccessKey, Sts, StsCredentials } from './auth/credentials.js'
export type { Fault, FaultAction, FaultHandle, FaultMatch, Moment } from './faults/fault.js'
export type { Link } from './link.js'
export type { OperationName } from './operations/name.js'
export type { RequestRecord } from './request-log.js'
