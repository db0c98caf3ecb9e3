/**
 * The spool itself: sinks, steps that can be retried, and what finishes them later.
 * @module oss-spool
 */
export type { Checkpoints } from './disk/records.js'
export { SpoolError, type SpoolErrorCode, type SpoolErrorDetails } from './errors.js'
export type { Credentials, CredentialsProvider, ProvidedCredentials } from './oss/credentials.js'
export { defaultCredentials } from './oss/default-credentials.js'
export type { CallbackOptions, ObjectOptions } from './oss/object-headers.js'
export type { FailureKind } from './oss/failure.js'
export type { Reply } from './oss/port.js'
export type { AliOssClient, ClientOptions } from './oss/settings.js'
export { Spool, type ResumeOptions, type SpoolOptions, type StepOptions } from './spool.js'
export type { SpoolWarning } from './upload/context.js'
export type { Expectation } from './upload/expectation.js'
export type { AliOssCheckpoint, UploadOptions } from './upload/options.js'
export type { ProgressEvent } from './upload/progress.js'
export type { Pruned, PruneOptions } from './upload/prune.js'
export type { UploadResult } from './upload/result.js'
export type { RetryOptions } from './upload/retry.js'
export type { Readables, Source, SourceOptions } from './upload/source.js'
export type { UploadStatus } from './upload/status.js'
export type { EventSubject, SpoolEvents } from './upload/telemetry.js'
export { SpoolWriteStream } from './write-stream.js'
