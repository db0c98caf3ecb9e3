/** Reads `~/.ossutilconfig`, the configuration file of Alibaba's command line. */
import { readFileSync } from 'node:fs'
import { UsageError } from './exit-status.js'
import { errorCode } from '../util/error-code.js'

/**
 * Returns the settings of the sections `[Credentials]` and `[default]`, names in lower case. Returns none if
 * the file does not exist.
 */
export function readOssutilConfig(path: string): Record<string, string | undefined> {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return {}
    throw new UsageError(`${path} cannot be read: ${String(error)}`)
  }
  const settings: Record<string, string> = {}
  let section = ''
  for (const line of text.split(/\r?\n/)) {
    const sectionMatch = /^\s*\[(.+)\]\s*$/.exec(line)
    if (sectionMatch?.[1] !== undefined) section = sectionMatch[1].toLowerCase()
    const entryMatch = /^\s*([A-Za-z]+)\s*=\s*(.*?)\s*$/.exec(line)
    if (entryMatch?.[1] === undefined || (section !== 'credentials' && section !== 'default'))
      continue
    settings[entryMatch[1].toLowerCase()] = entryMatch[2] ?? ''
  }
  return settings
}
