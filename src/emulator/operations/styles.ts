/** Styles of image processing. They are stored and listed; no image is processed. */
import { isoTime } from '../iso-time.js'
import { invalidArgument, OssError } from '../oss-error.js'
import { emptyReply, xmlReply, type Reply } from '../reply.js'
import { documentsBelow, removeDocument, setDocument } from './bucket-configuration.js'
import type { OperationContext } from './operation-context.js'
import { readXmlBody } from './xml-body.js'

const PREFIX = 'style/'

/** What a style consists of, by the names of OSS. */
interface Style {
  readonly Name: string
  readonly Content: string
  readonly CreateTime: string
  readonly LastModifyTime: string
}

export async function putStyle(context: OperationContext): Promise<Reply> {
  const name = styleName(context)
  const content = (await readXmlBody(context, 'Style'))?.text('Content')
  if (content === undefined || content === '') throw new OssError('MalformedXML')
  const old = (await readStyles(context)).find(style => style.Name === name)
  const now = isoTime(context.now)
  const style: Style = {
    Name: name,
    Content: content,
    CreateTime: old?.CreateTime ?? now,
    LastModifyTime: now,
  }
  await setDocument(context, PREFIX + name, JSON.stringify(style))
  return emptyReply(200)
}

export async function getStyle(context: OperationContext): Promise<Reply> {
  const name = styleName(context)
  const style = (await readStyles(context)).find(each => each.Name === name)
  if (style === undefined) throw new OssError('NoSuchStyle')
  return xmlReply('Style', { ...style })
}

export async function listStyles(context: OperationContext): Promise<Reply> {
  const styles = await readStyles(context)
  return xmlReply('StyleList', { Style: styles.map(style => ({ ...style })) })
}

export function deleteStyle(context: OperationContext): Promise<Reply> {
  return removeDocument(context, PREFIX + styleName(context))
}

function styleName({ query }: OperationContext): string {
  const name = query.get('styleName') ?? ''
  if (!/^[A-Za-z0-9_.-]{1,63}$/.test(name))
    throw invalidArgument('styleName', name, 'The style name is invalid.')
  return name
}

/** Resolves with the styles of the bucket, by name. */
async function readStyles(context: OperationContext): Promise<Style[]> {
  const documents = await documentsBelow(context, PREFIX)
  return documents.map(document => JSON.parse(document) as Style) // written by putStyle()
}
