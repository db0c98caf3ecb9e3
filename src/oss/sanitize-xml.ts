/**
 * What XML 1.0 has no form for ("Characters", section 2.2), and keys may hold all the same: a reply that
 * names such a key is one that no parser takes, although the request took effect.
 */
const INVALID_XML_CHARS =
  // oxlint-disable-next-line no-control-regex -- they are what is looked for
  /[\0-\x08\x0b\x0c\x0e-\x1f]|&#(?:0*(?:[0-8]|1[124-9]|2\d|3[01])|x0*(?:[0-8bcef]|1[0-9a-f]));/gi

/** The reply with U+FFFD in their places; nothing that is compared or sent again depends on these. */
export function sanitizeXml(data: Buffer, contentType: string | undefined): Buffer {
  if (contentType?.includes('xml') !== true) return data
  // Almost none has any: no copy of it is made, which a server that means ill would have us keep by the dozen.
  if (!data.includes('&#') && !data.some(isControl)) return data
  const text = data.toString('latin1') // as many characters as bytes: what is UTF-8 stays so
  return Buffer.from(text.replace(INVALID_XML_CHARS, '\xef\xbf\xbd'), 'latin1')
}

function isControl(byte: number): boolean {
  return byte < 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d
}
