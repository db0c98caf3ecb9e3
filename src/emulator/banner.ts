/** Startup text of the command line: endpoint, credentials, and lines to copy. */
import { isLoopback } from './http/browser-guard.js'
import type { Emulator } from './emulator.js'
import { isPublicKey } from './options.js'

/**
 * Describes a running emulator for a terminal: endpoint, data directory, credentials, and lines to
 * copy for `ali-oss` and `ossutil`. Warns if it listens on more than loopback, and if
 * its key is the public one.
 *
 * @returns several lines without a trailing newline
 */
export function describeEmulator(emulator: Emulator): string {
  const { endpoint, dir, region, host, adminEndpoint } = emulator
  const { accessKeyId, accessKeySecret } = emulator.credentials
  const options = JSON.stringify(emulator.clientOptions('my-bucket'))
  return [
    ...(isLoopback(host) ? [] : [TEST_SERVER_WARNING.replace('HOST', host), '']),
    `OSS emulator at ${endpoint}, objects in ${dir}`,
    ...(adminEndpoint === undefined ? [] : [`admin port        ${adminEndpoint}`]),
    `accessKeyId       ${accessKeyId}`,
    `accessKeySecret   ${accessKeySecret}`,
    `region            ${region}`,
    ...(isPublicKey(emulator.credentials) ? [PUBLIC_KEY_NOTE] : []),
    '',
    ...(endpoint.includes('[')
      ? ['oss-spool (ali-oss accepts no IPv6 address):', `  new Spool({ client: ${options} })`]
      : ['ali-oss:', `  new OSS(${options})`]),
    'ossutil:',
    `  ossutil ls -e ${endpoint} -i ${accessKeyId} -k ${accessKeySecret} --region ${region.replace(/^oss-/, '')} --addressing-style path`,
  ].join('\n')
}

const TEST_SERVER_WARNING =
  'This is a TEST SERVER listening on HOST: anyone who can reach it can read, change and delete what it stores.'

const PUBLIC_KEY_NOTE =
  'This key pair is public: every user of this machine can read, change and delete the objects.'
