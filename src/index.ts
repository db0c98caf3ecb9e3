/**
 * Crash-safe, resumable streaming uploads to Alibaba Cloud OSS. Create a `Spool`, then stream into it, upload
 * from a source that can be retried, or resume an earlier upload.
 * @module oss-spool
 */
export type { CheckpointStore } from './disk/record-store.js'
export { SpoolError, type SpoolErrorCode, type SpoolErrorDetails } from './errors.js'
export type { Credentials, CredentialsProvider, ProvidedCredentials } from './oss/credentials.js'
export { defaultCredentials } from './oss/default-credentials.js'
export type { CallbackOptions, ObjectOptions } from './oss/object-headers.js'
export type { RequestErrorKind } from './oss/request-error.js'
export type { HttpResponse } from './oss/bucket.js'
export type { RateLimit } from './oss/bucket.js'
export type { AliOssClient, ClientOptions } from './oss/client-options.js'
export { Spool } from './spool.js'
export type { AbortOptions, MoveTarget, ResumeOptions, SpoolOptions } from './spool-options.js'
export type { SpoolWarning } from './upload/run/context.js'
export type { Expectation } from './upload/model/expectation.js'
export type { AliOssCheckpoint, UploadOptions } from './upload/model/options.js'
export type { ProgressEvent } from './upload/model/progress-event.js'
export type { Pruned, PruneOptions } from './upload/maintenance/prune.js'
export type { UploadResult } from './upload/run/result.js'
export type { RetryOptions } from './upload/model/retry.js'
export type { SourceStream, Source, SourceOptions } from './upload/model/source.js'
export type { UploadStatus } from './upload/maintenance/status.js'
export type { DiagnosticsContext, SpoolEvents } from './upload/run/diagnostics.js'
export { SpoolWriteStream } from './write-stream.js'
