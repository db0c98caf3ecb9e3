/** Names of `stream-chain` for steps, so that a program that uses `runChain` need not install it. */
export { final, flushable, many, none, stop } from 'stream-chain/defs.js'
export { gen } from 'stream-chain/gen.js'
