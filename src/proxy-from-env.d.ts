/** Types of the function we use; the package has none. */
declare module 'proxy-from-env' {
  /** Returns the proxy for `url` according to `*_PROXY` and `NO_PROXY`, or an empty string. */
  export function getProxyForUrl(url: string): string
}
