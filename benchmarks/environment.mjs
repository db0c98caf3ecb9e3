/** Environment variables with which the command line finds a server of the benchmark. */
export function environmentOf(oss) {
  return {
    ...process.env,
    OSS_ENDPOINT: oss.endpoint,
    OSS_REGION: oss.region.replace(/^oss-/, ''),
    OSS_BUCKET: oss.bucket,
    OSS_ACCESS_KEY_ID: oss.accessKeyId,
    OSS_ACCESS_KEY_SECRET: oss.accessKeySecret,
  }
}
