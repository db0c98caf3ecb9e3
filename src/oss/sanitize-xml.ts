/**
 * Characters that XML 1.0 cannot represent ("Characters", section 2.2), but keys may contain. Parsers reject a
 * reply with such a key, although the request took effect.
 */
const INVALID_XML_CHARS =
  // oxlint-disable-next-line no-control-regex -- matches control characters on purpose
  /[\0-\x08\x0b\x0c\x0e-\x1f]|&#(?:0*(?:[0-8]|1[124-9]|2\d|3[01])|x0*(?:[0-8bcef]|1[0-9a-f]));/gi

/** Replaces these characters with U+FFFD. They are in no value that is compared or sent again. */
export function sanitizeXml(data: Buffer, contentType: string | undefined): Buffer {
  if (contentType?.includes('xml') !== true) return data
  // Most replies have none. Scan before copying, so that a hostile server cannot make us hold many copies.
  if (!data.includes('&#') && !data.some(isControl)) return data
  const text = data.toString('latin1') // one character per byte, which preserves UTF-8 sequences
  return Buffer.from(text.replace(INVALID_XML_CHARS, '\xef\xbf\xbd'), 'latin1')
}

function isControl(byte: number): boolean {
  return byte < 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d
}
