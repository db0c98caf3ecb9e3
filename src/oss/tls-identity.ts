/**
 * Who must prove to be whom in TLS: the host that is connected to. Left alone, Node asks for the
 * name in the `Host` header, which is the bucket's domain even where the endpoint is an IP address.
 */
import type * as https from 'node:https'
import { isIP } from 'node:net'
import { checkServerIdentity } from 'node:tls'

/** Options of a request to `hostname`; those of an agent win over them. */
export function tlsIdentityOptions(hostname: string): https.RequestOptions {
  return {
    servername: isIP(hostname) === 0 ? hostname : '', // there is no SNI for addresses
    checkServerIdentity: (_, certificate) => checkServerIdentity(hostname, certificate),
  }
}
