/**
 * The RSA key that signs callbacks. The service signs them so that a handler can verify where they come from, with the
 * key that `x-oss-pub-key-url` names.
 */
import { generateKeyPair, sign, type KeyObject } from 'node:crypto'
import { promisify } from 'node:util'

/** Path of the public key on the emulator. No bucket can have this name. */
export const PUBLIC_KEY_PATH = '/callback_pub_key_v1.pem'

export class CallbackKey {
  #keys: Promise<{ readonly publicKey: KeyObject; readonly privateKey: KeyObject }> | undefined

  /** Resolves with the public key as PEM. */
  async publicPem(): Promise<string> {
    const { publicKey } = await this.#loadKeys()
    return publicKey.export({ type: 'spki', format: 'pem' }).toString()
  }

  /** Resolves with the RSA-MD5 signature in base64, as in the header `authorization`. */
  async sign(text: string): Promise<string> {
    const { privateKey } = await this.#loadKeys()
    return sign('RSA-MD5', Buffer.from(text), privateKey).toString('base64')
  }

  /** Made on first use, since that takes a tenth of a second. */
  #loadKeys(): Promise<{ readonly publicKey: KeyObject; readonly privateKey: KeyObject }> {
    return (this.#keys ??= promisify(generateKeyPair)('rsa', { modulusLength: 2048 }))
  }
}
