/**
 * Reads `~/.ossutilconfig`, the configuration file of Alibaba's command line. For a bucket, `[Bucket-Cname]` takes
 * precedence over `[Bucket-Endpoint]`, and that over the endpoint of all buckets (ossutil 1, `getEndpoint`).
 */
import { checkSecretFile, readSettingsFile } from './config-file.js'

/** Endpoint of one bucket. */
export interface BucketEndpoint {
  readonly endpoint: string
  /** The endpoint is the bucket's own domain. */
  readonly cname: boolean
}

export interface OssutilConfig {
  /** Settings of the sections `[Credentials]` and `[default]`, names in lower case. */
  readonly settings: Readonly<Record<string, string | undefined>>
  /** Endpoints by bucket. */
  readonly bucketEndpoints: ReadonlyMap<string, BucketEndpoint>
}

/** Names in `settings` of what others must not read. */
const SECRETS = ['accesskeysecret', 'ststoken']

/**
 * Returns the settings of the file, none if it does not exist.
 * @throws UsageError if it cannot be read, others can write to it, or it has secrets that others can read
 */
export function readOssutilConfig(path: string): OssutilConfig {
  const file = readSettingsFile(path, false)
  const config = parseOssutilConfig(file?.text ?? '')
  const hasSecrets = SECRETS.some(name => (config.settings[name] ?? '') !== '')
  if (file !== undefined && hasSecrets) checkSecretFile(file, 'keys')
  return config
}

/** Parses the text of the file. */
export function parseOssutilConfig(text: string): OssutilConfig {
  const settings: Record<string, string> = {}
  const endpoints = new Map<string, BucketEndpoint>()
  const domains = new Map<string, BucketEndpoint>()
  let section = ''
  for (const rawLine of text.split('\n')) {
    const line = rawLine.trim()
    if (/^\[.+\]$/.test(line)) section = line.slice(1, -1).toLowerCase()
    const equals = line.indexOf('=')
    if (equals < 1 || /^[#;]/.test(line)) continue
    const name = line.slice(0, equals).trimEnd()
    const value = line.slice(equals + 1).trimStart()
    // ossutil 2 also accepts `access-key-id` and `access_key_id`.
    if (section === 'credentials' || section === 'default') {
      settings[name.toLowerCase().replaceAll(/[-_]/g, '')] = value
    }
    if (value === '') continue
    if (section === 'bucket-endpoint') endpoints.set(name, { endpoint: value, cname: false })
    if (section === 'bucket-cname') domains.set(name, { endpoint: value, cname: true })
  }
  return { settings, bucketEndpoints: new Map([...endpoints, ...domains]) }
}
