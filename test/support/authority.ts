/** A certificate authority for one test, created with `openssl`, and the certificates it signs. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'

export interface Authority {
  /** Path of the CA certificate, suitable for `NODE_EXTRA_CA_CERTS`. */
  readonly path: string
  readonly ca: string
  /**
   * Issues a key and a certificate.
   *
   * @param names – subject alternative names such as `IP:127.0.0.1` or `DNS:oss.example`
   */
  sign(...names: string[]): { key: string; cert: string }
}

/** Creates the authority. Returns `undefined` if `openssl` is not installed. */
export function makeAuthority(t: Test): Authority | undefined {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore' })
  } catch {
    return undefined
  }
  const dir = mkdtempSync(join(tmpdir(), 'oss-spool-ca-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const openssl = (...args: string[]): void => {
    execFileSync('openssl', args, { cwd: dir, stdio: 'ignore' })
  }
  const read = (name: string): string => readFileSync(join(dir, name), 'utf8')
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  openssl('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '2', '-subj', '/CN=oss-spool test CA') // prettier-ignore
  let serial = 0
  return {
    path: join(dir, 'ca.pem'),
    ca: read('ca.pem'),
    sign(...names) {
      const name = `server-${serial++}`
      writeFileSync(join(dir, `${name}.ext`), `subjectAltName=${names.join(',')}\n`)
      openssl('req', '-new', ...key, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', '/CN=test') // prettier-ignore
      openssl('x509', '-req', '-in', `${name}.csr`, '-CA', 'ca.pem', '-CAkey', 'ca.key', '-set_serial', String(serial), '-days', '2', '-extfile', `${name}.ext`, '-out', `${name}.pem`) // prettier-ignore
      return { key: read(`${name}.key`), cert: read(`${name}.pem`) }
    },
  }
}
