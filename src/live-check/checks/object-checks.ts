/** Checks of single objects: PutObject, conditions, ranges, listings. */
import { createHash } from 'node:crypto'
import { content, etagOf, type Check } from './check.js'

const DAY = 86_400_000

export const OBJECT_CHECKS: readonly Check[] = [
  {
    name: 'PutObject',
    async run(target) {
      const key = `${target.folder}put`
      const body = content(1000)
      const md5 = createHash('md5').update(body).digest('base64')
      const headers = {
        'content-type': 'text/csv',
        'content-md5': md5,
        'x-oss-meta-owner': 'check',
      }
      await target.send('PUT', key, { body, headers })
      await target.send('HEAD', key)
      await target.send('PUT', key, { body: content(10, 'b') })
      await target.send('GET', key)
      await target.send('HEAD', key, { query: { objectMeta: '' } })
      await target.send('PUT', key, {
        body,
        headers: { 'content-md5': 'AAAAAAAAAAAAAAAAAAAAAA==' },
      })
      await target.send('PUT', key, { body, headers: { 'content-md5': 'bad' } })
      await target.send('PUT', key, { body, headers: { 'x-oss-hash-crc64ecma': '1' } })
      await target.send('HEAD', key)
    },
  },
  {
    name: 'forbid-overwrite of PutObject',
    async run(target) {
      const key = `${target.folder}forbid`
      const forbid = { 'x-oss-forbid-overwrite': 'true' }
      for (const seed of ['a', 'b']) {
        await target.send('PUT', key, { body: content(10, seed), headers: forbid })
      }
      await target.send('GET', key)
    },
  },
  {
    name: 'conditional GET',
    async run(target) {
      const key = `${target.folder}conditional`
      const etag = etagOf(await target.send('PUT', key, { body: content(1000) }))
      const past = new Date(Date.now() - DAY).toUTCString()
      for (const headers of [
        { 'if-none-match': etag },
        { 'if-match': '"00000000000000000000000000000000"' },
        { 'if-match': etag },
        { 'if-modified-since': past },
        { 'if-unmodified-since': past },
      ]) {
        await target.send('GET', key, { headers })
      }
    },
  },
  {
    name: 'ranges',
    async run(target) {
      const key = `${target.folder}range`
      await target.send('PUT', key, { body: content(1000) })
      for (const range of [
        'bytes=0-9',
        'bytes=990-',
        'bytes=-5',
        'bytes=990-2000',
        'bytes=2000-',
      ]) {
        await target.send('GET', key, { headers: { range } })
      }
    },
  },
  {
    name: 'DELETE',
    async run(target) {
      const key = `${target.folder}deleted`
      await target.send('PUT', key, { body: '' })
      await target.send('DELETE', key)
      await target.send('DELETE', key)
      await target.send('GET', key)
    },
  },
  {
    name: 'listings',
    async run(target) {
      const folder = `${target.folder}list/`
      for (const name of ['a', 'b/1', 'b/2', 'c&d']) {
        await target.send('PUT', folder + name, { body: name })
      }
      await target.send('GET', '', { query: { 'list-type': '2', prefix: folder } })
      await target.send('GET', '', { query: { prefix: folder, delimiter: '/' } })
      await target.send('GET', '', { query: { prefix: folder, 'max-keys': '2' } })
      await target.send('GET', '', { query: { prefix: folder, marker: `${folder}b/1` } })
      await target.send('GET', '', {
        query: { 'list-type': '2', prefix: folder, 'encoding-type': 'url', 'start-after': folder },
      })
      await target.send('GET', '', { query: { prefix: folder, 'max-keys': '1001' } })
    },
  },
]
