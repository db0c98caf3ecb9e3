/** Takes the proxies of this machine out of the environment; a test sets its own. */
const NAMES = ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'NO_PROXY']

/** Sets these and no others, in this process. */
export function useProxies(env: Readonly<Record<string, string>> = {}): void {
  for (const name of NAMES) {
    delete process.env[name]
    delete process.env[name.toLowerCase()]
  }
  Object.assign(process.env, env)
}
