/** The public names of `oss-spool/bullmq`: uploads as jobs of a fleet of workers. */
export type { QueueConnection, QueueOptions } from './connection.js'
export type { HomeJob } from './homes.js'
export type {
  JobData,
  JobProgress,
  JobResult,
  JobSource,
  Given,
  JobUpload,
  ManifestData,
  Sources,
  UploadData,
  UploadJob,
  UploadRequest,
} from './job.js'
export type { FlowManifest, FlowObject } from './manifest.js'
export {
  UploadQueue,
  type Cancelled,
  type FlowRequest,
  type UploadQueueOptions,
} from './upload-queue.js'
export { UploadWorker, type UploadWorkerOptions } from './upload-worker.js'
