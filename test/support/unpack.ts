/** Decompressors for objects that consist of several gzip members or zstd frames. */
import { execFileSync, spawnSync } from 'node:child_process'
import * as zlib from 'node:zlib'

type Unpack = (content: Buffer) => Buffer

/** Decompressors by `transform` of `rotate()`; `zstd` only if Node can compress it and the tool is installed. */
export const unpackers: ReadonlyMap<'none' | 'gzip' | 'zstd', Unpack> = new Map([
  ['none', content => content],
  ['gzip', content => zlib.gunzipSync(content)],
  ...(canZstd() ? [['zstd', unpackZstd] as const] : []),
])

function canZstd(): boolean {
  return 'createZstdCompress' in zlib && spawnSync('zstd', ['--version']).error === undefined
}

/** Not by Node, whose decompressor reads only the first frame in several versions. */
function unpackZstd(content: Buffer): Buffer {
  return execFileSync('zstd', ['-dc'], { input: content, maxBuffer: 2 ** 30, stdio: 'pipe' })
}
