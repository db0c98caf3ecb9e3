/** Removes this machine's proxies from the environment, so that a test can set its own. */
const NAMES = ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'NO_PROXY']

/** Sets the proxy variables in `env` for this process and removes all others. */
export function useProxies(env: Readonly<Record<string, string>> = {}): void {
  for (const name of NAMES) {
    delete process.env[name]
    delete process.env[name.toLowerCase()]
  }
  Object.assign(process.env, env)
}
