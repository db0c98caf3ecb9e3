/**
 * Where the examples upload to: the OSS that the environment names, by the variables of the command
 * line and OSS_BUCKET; if it names none, an OSS inside this process, its objects in ./oss-data.
 */
import { startEmulator } from 'oss-spool/emulator'

const { OSS_REGION, OSS_ENDPOINT, OSS_BUCKET = 'examples', OSS_LOCAL_PORT = '8947' } = process.env

/** Client options for `new Spool()`, and what to call at the end. */
export async function openOss() {
  return OSS_REGION ? { client: configured(), close: async () => {} } : local()
}

function configured() {
  const { OSS_ACCESS_KEY_ID, OSS_ACCESS_KEY_SECRET, OSS_SESSION_TOKEN } = process.env
  return {
    region: OSS_REGION.replace(/^(?!oss-)/, 'oss-'),
    bucket: OSS_BUCKET,
    accessKeyId: OSS_ACCESS_KEY_ID,
    accessKeySecret: OSS_ACCESS_KEY_SECRET,
    ...(OSS_SESSION_TOKEN && { stsToken: OSS_SESSION_TOKEN }),
    ...(OSS_ENDPOINT && { endpoint: OSS_ENDPOINT }),
  }
}

/** Always on the same port: an upload is found again by its endpoint. */
async function local() {
  const port = Number(OSS_LOCAL_PORT)
  const oss = await startEmulator({ dir: 'oss-data', port, buckets: [OSS_BUCKET] })
  return { client: oss.clientOptions(OSS_BUCKET), close: () => oss.close() }
}
