/**
 * Uploads as jobs for a fleet of workers.
 * @module oss-spool/bullmq
 */
export type { QueueConnection, QueueOptions } from './queue-options.js'
export type { HostJob } from './host-queues.js'
export type {
  JobData,
  JobProgress,
  JobResult,
  JobSource,
  JobSourceLimits,
  JobUpload,
  ManifestData,
  ObjectRequest,
  ScheduledData,
  Sources,
  UploadData,
  UploadJob,
  UploadRequest,
} from './job.js'
export type { FlowManifest, FlowObject } from './flow-manifest.js'
export type { JobOptions } from './job-options.js'
export type { Schedule } from './schedule-times.js'
export type { ScheduleStatus } from './schedules.js'
export { sandboxedSources, SourceProcessError, type SandboxOptions } from './sandboxed-sources.js'
export {
  UploadQueue,
  type AddResult,
  type CancelResult,
  type FlowRequest,
  type UploadQueueOptions,
} from './upload-queue.js'
export {
  UploadWorker,
  type CloseOptions,
  type IdleSource,
  type UploadWorkerOptions,
} from './upload-worker.js'
