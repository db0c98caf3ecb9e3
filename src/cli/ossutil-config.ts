/** `~/.ossutilconfig`, the configuration of Alibaba's own command line. */
import { readFileSync } from 'node:fs'
import { UsageError } from './exit-status.js'

/** The `[Credentials]` section, names in lower case; empty when there is no such file. */
export function readOssutilConfig(path: string): Record<string, string | undefined> {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return {}
    throw new UsageError(`${path} cannot be read: ${String(error)}`)
  }
  const values: Record<string, string> = {}
  let section = ''
  for (const line of text.split(/\r?\n/)) {
    const header = /^\s*\[(.+)\]\s*$/.exec(line)
    if (header?.[1] !== undefined) section = header[1].toLowerCase()
    const entry = /^\s*([A-Za-z]+)\s*=\s*(.*?)\s*$/.exec(line)
    if (entry?.[1] === undefined || (section !== 'credentials' && section !== 'default')) continue
    values[entry[1].toLowerCase()] = entry[2] ?? ''
  }
  return values
}
