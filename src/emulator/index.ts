/**
 * A local OSS for tests, demos and benchmarks.
 * @module oss-spool/emulator
 */
export { describeEmulator } from './banner.js'
export { startEmulator, type EmulatorClientOptions, type Emulator } from './emulator.js'
export { DEFAULT_KEY, type EmulatorOptions } from './options.js'
export type { AccessKey, Sts, StsCredentials } from './auth/credentials.js'
export type { Fault, FaultAction, FaultHandle, FaultMatch, FaultPoint } from './faults/fault.js'
export type { LinkOptions } from './simulated-network.js'
export type { OperationName } from './operations/operation-name.js'
export type { RequestRecord } from './request-log.js'
