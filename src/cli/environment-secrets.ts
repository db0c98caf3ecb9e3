/** Secrets in the environment, which messages must not repeat. */

/** Variables of access keys, here and in the tools of Alibaba Cloud. */
const KEY_VARIABLE = /ACCESS_?KEY_?(?:ID|SECRET)$|(?:SESSION|SECURITY|STS)_?TOKEN$/i
/** Variables whose URL may contain a password. */
const URL_VARIABLE =
  /^(?:(?:HTTPS?|ALL)_PROXY|(?:OSS_SPOOL_)?REDIS(?:_URL)?|OSS_(?:SPOOL_)?ENDPOINT)$/i

/** Returns the keys and passwords in the environment. */
export function environmentSecrets(env: NodeJS.ProcessEnv): string[] {
  return Object.entries(env).flatMap(([name, value = '']) => {
    if (KEY_VARIABLE.test(name)) return [value.trim()]
    return URL_VARIABLE.test(name) ? passwordsOf(value) : []
  })
}

/** Returns the password of a URL, as it is written and decoded. */
function passwordsOf(url: string): string[] {
  if (!URL.canParse(url)) return []
  const { password } = new URL(url)
  try {
    return [password, decodeURIComponent(password)]
  } catch {
    return [password] // a stray percent sign
  }
}
