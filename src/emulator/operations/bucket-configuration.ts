/**
 * Configuration documents of buckets. They are checked for their form, stored, and returned as they came, so that scripts
 * that set up buckets work unchanged. Only CORS and lifecycle rules have an effect, see `cors.ts` and
 * `../lifecycle.ts`.
 */
import { randomUUID } from 'node:crypto'
import { OssError, type OssErrorCode } from '../oss-error.js'
import { emptyReply, xmlReply, type Reply } from '../reply.js'
import type { BucketRecord } from '../store/record.js'
import { xmlDocument, type XmlValue } from '../xml.js'
import { RESOURCE_GROUP_ID, requireBucket, updateBucket } from './bucket.js'
import { parseCors } from './cors-rules.js'
import { parseLifecycle } from './lifecycle-rules.js'
import type { OperationContext } from './operation-context.js'
import { parseXml, readTextBody, readXmlText } from './xml-body.js'

/** A kind of document. */
export interface BucketConfiguration {
  /** Query parameters that name it, in alphabetical order. */
  readonly parameter: string
  /** Root element. A policy is JSON. */
  readonly root: string
  /** The error if there is none, or the content of the document that stands for none. */
  readonly missing: OssErrorCode | { readonly [name: string]: XmlValue }
  readonly methods: readonly ('GET' | 'PUT' | 'DELETE')[]
  /** Whether a PUT to a missing bucket is read as a PutBucket, whose body this is not. Recorded from the service. */
  readonly putsBucket: boolean
}

const ALL = ['GET', 'PUT', 'DELETE'] as const
const NO_DELETE = ['GET', 'PUT'] as const

const kind = (
  parameter: string,
  root: string,
  missing: BucketConfiguration['missing'],
  methods: BucketConfiguration['methods'] = ALL,
): BucketConfiguration => ({ parameter, root, missing, methods, putsBucket: false })

export const POLICY = kind('policy', '', 'NoSuchBucketPolicy')
export const ENCRYPTION = kind(
  'encryption',
  'ServerSideEncryptionRule',
  'NoSuchServerSideEncryptionRule',
)
export const CORS = kind('cors', 'CORSConfiguration', 'NoSuchCORSConfiguration')
export const LIFECYCLE = kind('lifecycle', 'LifecycleConfiguration', 'NoSuchLifecycle')
const LOG_FIELDS = 'UserDefinedLogFieldsConfiguration'
export const ACCESS_MONITOR = kind(
  'accessmonitor',
  'AccessMonitorConfiguration',
  { Status: 'Disabled' },
  NO_DELETE,
)
export const ACCELERATION = kind(
  'transferAcceleration',
  'TransferAccelerationConfiguration',
  'NoSuchTransferAccelerationConfiguration',
)
export const ACCESS_BLOCK = kind('publicAccessBlock', 'PublicAccessBlockConfiguration', {
  BlockPublicAccess: false,
})
export const OBJECT_WORM: BucketConfiguration = {
  ...kind('objectWorm', 'ObjectWormConfiguration', 'NoSuchWORMConfiguration', NO_DELETE),
  putsBucket: true,
}
const NO_REFERERS = { AllowEmptyReferer: true, RefererList: {} }

export const BUCKET_CONFIGURATIONS: readonly BucketConfiguration[] = [
  kind('comp=callback policy', 'BucketCallbackPolicy', 'BucketCallbackPolicyNotExist'),
  POLICY,
  CORS,
  LIFECYCLE,
  kind('website', 'WebsiteConfiguration', 'NoSuchWebsiteConfiguration'),
  kind('logging', 'BucketLoggingStatus', {}),
  kind('userDefinedLogFieldsConfig', LOG_FIELDS, 'NoSuchUserDefinedLogFieldsConfig'),
  kind('referer', 'RefererConfiguration', NO_REFERERS, NO_DELETE),
  ENCRYPTION,
  kind('requestPayment', 'RequestPaymentConfiguration', { Payer: 'BucketOwner' }, NO_DELETE),
  ACCESS_MONITOR,
  ACCELERATION,
  ACCESS_BLOCK,
  kind(
    'resourceGroup',
    'BucketResourceGroupConfiguration',
    { ResourceGroupId: RESOURCE_GROUP_ID },
    NO_DELETE,
  ),
  kind('httpsConfig', 'HttpsConfiguration', { TLS: { Enable: false } }, NO_DELETE),
  kind('bucketArchiveDirectRead', 'ArchiveDirectReadConfiguration', { Enabled: false }, NO_DELETE),
  {
    ...kind('overwriteConfig', 'OverwriteConfiguration', 'NoSuchOverwriteConfiguration'),
    putsBucket: true,
  },
  OBJECT_WORM,
]

/** Returns the operation for one document and one method. */
export function configurationOperation(
  configuration: BucketConfiguration,
  method: 'GET' | 'PUT' | 'DELETE',
): (context: OperationContext) => Promise<Reply> {
  if (method === 'GET') return context => getConfiguration(context, configuration)
  if (method === 'PUT') return context => putConfiguration(context, configuration)
  return context => removeDocument(context, configuration.parameter)
}

/** Returns the stored document; undefined if there is none. */
export function configurationOf(
  owner: Pick<BucketRecord, 'configurations'> | undefined,
  { parameter }: BucketConfiguration,
): string | undefined {
  const documents = owner?.configurations ?? {}
  return Object.hasOwn(documents, parameter) ? documents[parameter] : undefined
}

async function getConfiguration(
  context: OperationContext,
  configuration: BucketConfiguration,
): Promise<Reply> {
  return configurationReply(
    configuration,
    configurationOf(await requireBucket(context), configuration),
  )
}

/** Returns the stored document, or what stands for none. */
export function configurationReply(
  configuration: BucketConfiguration,
  document: string | undefined,
): Reply {
  const { root, missing } = configuration
  if (document === undefined) {
    if (typeof missing === 'string') throw new OssError(missing)
    return xmlReply(root, missing)
  }
  return documentReply(document, configuration === POLICY ? 'application/json' : undefined)
}

async function putConfiguration(
  context: OperationContext,
  configuration: BucketConfiguration,
): Promise<Reply> {
  const document = await readConfiguration(context, configuration)
  if (configuration === OBJECT_WORM && context.versioning !== 'Enabled')
    throw new OssError('InvalidRequest', {
      message: 'The versioning of the bucket is not enabled.',
    })
  await setDocument(context, configuration.parameter, document)
  return emptyReply(200)
}

/** Checks the body. Resolves with the document to store. */
export async function readConfiguration(
  context: OperationContext,
  configuration: BucketConfiguration,
): Promise<string> {
  if (configuration === POLICY) {
    const policy = await readTextBody(context)
    checkPolicy(policy)
    return policy
  }
  const text = await readXmlText(context)
  if (configuration === LIFECYCLE) {
    await parseLifecycle(text)
    return withLowerCaseBooleans(withRuleIds(text))
  }
  if (configuration === CORS) await parseCors(text)
  else await parseXml(text, configuration.root)
  return withLowerCaseBooleans(text)
}

/** Throws 400 InvalidPolicyDocument unless the text is a JSON object. */
function checkPolicy(text: string): void {
  try {
    const policy: unknown = JSON.parse(text)
    if (typeof policy === 'object' && policy !== null && !Array.isArray(policy)) return
  } catch {
    // reported below
  }
  throw new OssError('InvalidPolicyDocument')
}

/** GetBucketPolicyStatus: whether the policy allows something to everybody without a condition. */
export async function getPolicyStatus(context: OperationContext): Promise<Reply> {
  const document = configurationOf(await requireBucket(context), POLICY)
  if (document === undefined) throw new OssError('NoSuchBucketPolicy')
  const { Statement } = JSON.parse(document) as Record<string, unknown> // checked when it was stored
  const statements: unknown[] = Array.isArray(Statement) ? Statement : []
  return xmlReply('PolicyStatus', { IsPublic: statements.some(isPublicStatement) })
}

function isPublicStatement(statement: unknown): boolean {
  const fields = new Map<string, unknown>(Object.entries(statement ?? {}))
  const principals = [fields.get('Principal')].flat()
  return fields.get('Effect') === 'Allow' && principals.includes('*') && !fields.has('Condition')
}

/** Writes booleans as the service does. oss2 for Python sends `True`, and accepts only `true`. */
function withLowerCaseBooleans(document: string): string {
  return document.replace(/>\s*(True|False)\s*<(?=\/)/g, text => text.toLowerCase())
}

/** Gives an id to each rule that has none, as the service does. */
function withRuleIds(document: string): string {
  return document
    .split('<Rule>')
    .map((rule, i) => (i === 0 || rule.includes('<ID>') ? rule : `<ID>${randomUUID()}</ID>${rule}`))
    .join('<Rule>')
}

/** Returns a document as it was sent, with an XML declaration. */
function documentReply(document: string, contentType = 'application/xml'): Reply {
  const hasDeclaration = contentType !== 'application/xml' || document.startsWith('<?xml')
  const body = hasDeclaration ? document : `<?xml version="1.0" encoding="UTF-8"?>\n${document}`
  return { status: 200, headers: { 'Content-Type': contentType }, body }
}

/** Resolves with the documents whose names start with `prefix`, in the order in which they were first stored. */
export async function documentsBelow(context: OperationContext, prefix: string): Promise<string[]> {
  const { configurations = {} } = await requireBucket(context)
  const names = Object.keys(configurations).filter(name => name.startsWith(prefix))
  return names.flatMap(name => configurations[name] ?? [])
}

/** Stores a document of the bucket under a name. */
export function setDocument(
  context: OperationContext,
  name: string,
  document: string,
): Promise<void> {
  return updateBucket(context, old => ({
    ...old,
    configurations: { ...old.configurations, [name]: document },
  }))
}

/** Removes a document of the bucket; a missing one is no error. */
export async function removeDocument(context: OperationContext, name: string): Promise<Reply> {
  await updateBucket(context, old => {
    const { [name]: _removed, ...configurations } = old.configurations ?? {}
    return { ...old, configurations }
  })
  return emptyReply(204)
}

const inventoryName = ({ query }: OperationContext): string =>
  `inventory/${query.get('inventoryId') ?? ''}`

export async function putInventory(context: OperationContext): Promise<Reply> {
  const text = await readXmlText(context)
  const id = (await parseXml(text, 'InventoryConfiguration')).text('Id')
  if (id !== context.query.get('inventoryId')) throw new OssError('MalformedXML')
  await setDocument(context, inventoryName(context), withLowerCaseBooleans(text))
  return emptyReply(200)
}

export async function getInventory(context: OperationContext): Promise<Reply> {
  const { configurations = {} } = await requireBucket(context)
  const document = configurations[inventoryName(context)]
  if (document === undefined) throw new OssError('NoSuchInventory')
  return documentReply(document)
}

export function deleteInventory(context: OperationContext): Promise<Reply> {
  return removeDocument(context, inventoryName(context))
}

export async function listInventories(context: OperationContext): Promise<Reply> {
  const inventories = await documentsBelow(context, 'inventory/')
  if (inventories.length === 0) throw new OssError('NoSuchInventory')
  const documents = inventories.map(withoutDeclaration)
  const list = xmlDocument('ListInventoryConfigurationsResult', { IsTruncated: false })
  const end = list.lastIndexOf('</')
  const body = `${list.slice(0, end)}${documents.join('\n')}\n${list.slice(end)}`
  return { status: 200, headers: { 'Content-Type': 'application/xml' }, body }
}

function withoutDeclaration(document: string): string {
  return document.startsWith('<?xml') ? document.slice(document.indexOf('?>') + 2) : document
}
