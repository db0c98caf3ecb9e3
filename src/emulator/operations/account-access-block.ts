/** The block of public access to all buckets of the account: stored and returned, not enforced. */
import { emptyReply, type Reply } from '../reply.js'
import {
  ACCESS_BLOCK,
  configurationOf,
  configurationReply,
  readConfiguration,
} from './bucket-configuration.js'
import type { OperationContext } from './operation-context.js'

export async function getAccountAccessBlock({ store }: OperationContext): Promise<Reply> {
  return configurationReply(ACCESS_BLOCK, configurationOf(await store.account.get(), ACCESS_BLOCK))
}

export async function putAccountAccessBlock(context: OperationContext): Promise<Reply> {
  const document = await readConfiguration(context, ACCESS_BLOCK)
  await context.store.account.put({ configurations: { [ACCESS_BLOCK.parameter]: document } })
  return emptyReply(200)
}

export async function deleteAccountAccessBlock({ store }: OperationContext): Promise<Reply> {
  await store.account.put({})
  return emptyReply(204)
}
