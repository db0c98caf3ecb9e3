/**
 * Target of the examples: the OSS configured by the environment, with the variables of the command line and
 * OSS_BUCKET, else an OSS inside this process that stores its objects in ./oss-data.
 */
import { startEmulator } from 'oss-spool/emulator'

const { OSS_REGION, OSS_ENDPOINT, OSS_BUCKET = 'examples', OSS_LOCAL_PORT = '8947' } = process.env

/** Returns the client options for `new Spool()`, and a function to call at the end. */
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

/**
 * Starts a local OSS, always on the same port, since an upload is found again by its endpoint. Its random key keeps
 * other users of this machine out.
 */
async function local() {
  const port = Number(OSS_LOCAL_PORT)
  const oss = await startEmulator({
    dir: 'oss-data',
    port,
    buckets: [OSS_BUCKET],
    credentials: 'random',
  })
  return { client: oss.clientOptions(OSS_BUCKET), close: () => oss.close() }
}
