/** `rclone rcat` over S3's protocol, if it is installed. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { pipeline } from 'node:stream/promises'

export const where = 's3'

export async function run({ places, key, partSize, parallel, source }) {
  const remote = [
    ':s3,provider=Other,access_key_id=bench,secret_access_key=bench',
    'force_path_style=true,no_check_bucket=true',
    `endpoint='${places.s3}',chunk_size=${partSize}B,upload_concurrency=${parallel}`,
  ].join(',')
  const rclone = spawn('rclone', ['rcat', `${remote}:bench/${key}`], {
    stdio: ['pipe', 'inherit', 'inherit'],
    env: { PATH: process.env.PATH, RCLONE_CONFIG: '/dev/null' }, // ignore the user's settings
  })
  const [[code]] = await Promise.all([once(rclone, 'exit'), pipeline(source, rclone.stdin)])
  if (code !== 0) throw new Error(`rclone ended with ${code}`)
}
