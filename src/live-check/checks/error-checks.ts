/** Checks of refusals: the error table. */
import { content, type Check } from './check.js'

const MINUTE = 60_000
const HOUR = 60 * MINUTE

export const ERROR_CHECKS: readonly Check[] = [
  {
    name: 'NoSuchKey',
    async run(target) {
      for (const method of ['GET', 'HEAD']) await target.send(method, `${target.folder}absent`)
    },
  },
  {
    name: 'SignatureDoesNotMatch',
    async run(target) {
      for (const method of ['GET', 'HEAD', 'PUT']) {
        await target.send(method, `${target.folder}absent`, {
          signer: own => ({ ...own, accessKeySecret: 'not the secret of this key' }),
        })
      }
    },
  },
  {
    name: 'InvalidAccessKeyId',
    async run(target) {
      const accessKeyId = 'LTAI5tNoSuchKeyOfCheck00'
      await target.send('GET', `${target.folder}absent`, {
        signer: ({ region, time }) => ({ region, time, accessKeyId, accessKeySecret: 'none' }),
      })
    },
  },
  {
    name: 'RequestTimeTooSkewed',
    async run(target) {
      for (const skew of [-HOUR, HOUR]) {
        await target.send('GET', `${target.folder}absent`, {
          signer: own => ({ ...own, time: own.time + skew }),
        })
      }
    },
  },
  {
    name: 'another region in the signature',
    async run(target) {
      await target.send('GET', `${target.folder}absent`, {
        signer: own => ({ ...own, region: 'cn-nowhere' }),
      })
    },
  },
  {
    name: 'AccessDenied',
    async run(target) {
      const key = `${target.folder}private`
      await target.send('PUT', key, { body: 'private' })
      for (const method of ['GET', 'PUT', 'DELETE'])
        await target.send(method, key, { signer: () => undefined })
    },
  },
  {
    name: 'presigned URL',
    async run(target) {
      const key = `${target.folder}presigned`
      await target.send('PUT', key, { body: content(10), presigned: 300 })
      await target.send('GET', key, { presigned: 300 })
      await target.send('GET', key, {
        presigned: 60,
        signer: own => ({ ...own, time: own.time - 10 * MINUTE }),
      })
      await target.send('GET', key, {
        presigned: 300,
        signer: own => ({ ...own, accessKeySecret: 'not the secret of this key' }),
      })
    },
  },
  {
    name: 'invalid requests',
    async run(target) {
      const key = `${target.folder}invalid`
      await target.send('PUT', `${target.folder}${'k'.repeat(1024)}`, { body: '' })
      await target.send('PUT', key, { body: '', headers: { 'x-oss-storage-class': 'Nonsense' } })
      await target.send('PUT', key, { body: '', headers: { 'if-modified-since': 'x' } })
      await target.send('GET', '', { query: { 'max-keys': 'many', prefix: key } })
      await target.send('POST', key, { query: { append: '', position: '5' }, body: 'x' })
    },
  },
]
