/** One HTTP PUT of the stream with a presigned URL: the limit of a socket and the emulator. */
import { request } from 'node:http'
import { pipeline } from 'node:stream/promises'
import OSS from 'ali-oss'

export const where = 'oss'

export async function run({ places, key, size, source }) {
  // The SDK does not sign URLs with an IP address.
  const endpoint = places.oss.endpoint.replace('127.0.0.1', 'localhost')
  const client = new OSS({ ...places.oss, endpoint, sldEnable: true })
  const url = client.signatureUrl(key, { method: 'PUT', expires: 3600 })
  await send(url.replace('localhost', '127.0.0.1'), size, source)
}

export async function send(url, size, source) {
  const put = request(url, { method: 'PUT', headers: { 'content-length': size } })
  const answered = new Promise((resolve, reject) => {
    put.on('response', response => {
      response.resume().on('end', () => {
        if (response.statusCode === 200) resolve()
        else reject(new Error(`${response.statusCode} from ${url}`))
      })
    })
    put.on('error', reject)
  })
  await Promise.all([pipeline(source, put), answered])
}
