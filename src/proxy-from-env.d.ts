/** The one call we use of a library that ships without types. */
declare module 'proxy-from-env' {
  /** The proxy that `*_PROXY` and `NO_PROXY` name for `url`; empty for none. */
  export function getProxyForUrl(url: string): string
}
