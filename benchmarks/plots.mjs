/** Plots, drawn by Vega. Each function returns a Vega-Lite specification. */
import { parse, View } from 'vega'
import { compile } from 'vega-lite'
import { mib, median, rates } from './figures.mjs'
import { nameOf } from './cases/part-size.mjs'
import { groupOf } from './cases/throughput.mjs'

const OURS = '#c2410c'
const PEER = '#64748b'
const INK = '#1e293b'

export async function svgOf(specification) {
  const config = {
    background: 'white',
    font: 'sans-serif',
    title: { anchor: 'start', fontSize: 14, color: INK, subtitleColor: INK, offset: 12 },
    axis: { labelFontSize: 12, titleFontSize: 12, titleFontWeight: 'normal', labelLimit: 0 },
    header: { labelFontSize: 12, titleFontSize: 12 },
    view: { stroke: null },
    legend: { labelFontSize: 12, labelLimit: 0, orient: 'bottom', title: null },
  }
  const { spec } = compile({ padding: 10, ...specification, config })
  return slim(await new View(parse(spec), { renderer: 'none' }).toSVG())
}

/** Removes the half of Vega's SVG that an image does not show: roles, empty paths, names of classes, repeated fonts. */
function slim(svg) {
  return svg
    .replaceAll(/ (?:aria-[\w-]+|role|class|pointer-events)="[^"]*"/g, '')
    .replaceAll(/<path[^>]* display="none"\/>|<path d="M0,0h0v0h0Z"\/>/g, '')
    .replaceAll(' font-family="sans-serif"', '')
    .replace('<svg ', '<svg font-family="sans-serif" ')
}

const plain = label => label.replaceAll('`', '')

/** How each group of subjects is drawn; limits are hollow, so that they also differ without colours. */
const GROUPS = {
  ours: { name: 'oss-spool', fill: OURS, stroke: OURS },
  peer: { name: 'other ways to upload a stream or file in parts', fill: PEER, stroke: PEER },
  limit: {
    name: 'limits: one request that a failure loses, or no upload',
    fill: '#fff',
    stroke: PEER,
  },
}

/** Bar chart, by groups. */
export function throughput({ measured, size }) {
  const values = Object.entries(measured)
    .map(([label, all]) => ({
      label: plain(label),
      rate: Math.round(median(rates(size, all))),
      group: GROUPS[groupOf(label)].name,
    }))
    .toSorted((a, b) => b.rate - a.rate)
  const groups = Object.values(GROUPS)
  const scaleOf = channel => ({
    domain: groups.map(({ name }) => name),
    range: groups.map(group => group[channel]),
  })
  return {
    title: {
      text: 'Speed of one upload',
      subtitle: `first ${mib(size)} MiB of a process, client and server on one machine`,
    },
    data: { values },
    width: 420,
    height: { step: 26 },
    encoding: {
      y: { field: 'label', type: 'nominal', sort: null, title: null, axis: { labelLimit: 0 } },
      x: {
        field: 'rate',
        type: 'quantitative',
        title: 'MB/s, more is better',
        axis: { tickCount: 5 },
      },
    },
    layer: [
      {
        mark: { type: 'bar', strokeWidth: 1.5, height: { band: 0.7 } },
        encoding: {
          fill: {
            field: 'group',
            type: 'nominal',
            scale: scaleOf('fill'),
            legend: { columns: 1, symbolType: 'square', labelLimit: 0 },
          },
          stroke: { field: 'group', type: 'nominal', scale: scaleOf('stroke') },
          strokeDash: {
            condition: { test: `datum.group === '${GROUPS.limit.name}'`, value: [4, 3] },
            value: [1, 0],
          },
        },
      },
      {
        mark: { type: 'text', align: 'left', dx: 5, fontSize: 12, color: INK },
        encoding: { text: { field: 'rate', type: 'quantitative' } },
      },
    ],
  }
}

/** Rate for each setting, coloured by its share of the line's speed. */
export function partSize({ measured }) {
  const values = measured.map(({ link, latency, partSize: bytes, parallel, rate }) => ({
    link,
    latency: `${latency} ms latency`,
    bytes,
    part: nameOf(bytes).replace(' KiB', 'K').replace(' MiB', 'M'),
    parallel: String(parallel),
    share: Math.min(1, rate / link),
    rate: Number(rate.toPrecision(2)),
  }))
  const distinct = field => [...new Set(values.map(value => value[field]))]
  const ofLink = link => ({
    title: { text: `line of ${link} MB/s`, fontSize: 12, offset: 4 },
    data: { values: values.filter(value => value.link === link) },
    facet: { column: { field: 'latency', sort: distinct('latency'), title: null } },
    spec: {
      width: { step: 34 },
      height: { step: 20 },
      encoding: {
        x: {
          field: 'part',
          type: 'ordinal',
          sort: { field: 'bytes' },
          title: 'part size, bytes',
          axis: { labelAngle: 0, labelFontSize: 10 },
        },
        y: {
          field: 'parallel',
          type: 'ordinal',
          sort: distinct('parallel'),
          title: 'parts in flight',
        },
      },
      layer: [
        {
          mark: 'rect',
          encoding: {
            color: {
              field: 'share',
              type: 'quantitative',
              scale: { scheme: 'viridis', domain: [0, 1] },
              legend: null,
            },
          },
        },
        {
          mark: { type: 'text', fontSize: 10 },
          encoding: {
            text: { field: 'rate', type: 'quantitative' },
            color: { condition: { test: 'datum.share > 0.6', value: 'black' }, value: 'white' },
          },
        },
      ],
    },
  })
  return {
    title: {
      text: 'Speed in MB/s by part size and parts in flight',
      subtitle: 'the lighter a field, the closer to the speed of the line',
    },
    vconcat: distinct('link').map(ofLink),
  }
}

/** Bytes in the spool and on OSS over one run, and when the peer ended. */
export function overlap({ measured }) {
  const [[ours], [theirs]] = Object.values(measured)
  const [, peer] = Object.keys(measured)
  const values = ours.timeline.flatMap(([ms, spooled, uploaded]) => [
    { seconds: ms / 1000, MB: spooled / 1e6, where: 'read from the source, on the disk' },
    { seconds: ms / 1000, MB: uploaded / 1e6, where: 'on OSS' },
  ])
  const ends = [
    { at: ours.ms / 1000, y: 190, label: ['oss-spool', 'is done'] },
    { at: theirs.ms / 1000, y: 30, label: [...plain(peer).split(/(?<=,) /), 'is done'] },
  ]
  return {
    title: {
      text: 'Reading and sending at the same time',
      subtitle: 'one upload of oss-spool; the source gives 60 MB/s, the line takes 100 MB/s',
    },
    width: 600,
    height: 220,
    layer: [
      {
        data: { values },
        mark: { type: 'line', strokeWidth: 2.5, interpolate: 'step-after' },
        encoding: {
          x: { field: 'seconds', type: 'quantitative', title: 'seconds since the start' },
          y: { field: 'MB', type: 'quantitative', title: 'MB' },
          color: {
            field: 'where',
            type: 'nominal',
            scale: { range: [OURS, PEER], domain: ['on OSS', 'read from the source, on the disk'] },
          },
        },
      },
      {
        data: { values: ends },
        mark: { type: 'rule', strokeDash: [4, 3], color: INK },
        encoding: { x: { field: 'at', type: 'quantitative' } },
      },
      {
        data: { values: ends },
        mark: {
          type: 'text',
          align: 'right',
          dx: -5,
          dy: 8,
          baseline: 'bottom',
          fontSize: 12,
          color: INK,
        },
        encoding: {
          x: { field: 'at', type: 'quantitative' },
          y: { field: 'y', type: 'quantitative', scale: null },
          text: { field: 'label' },
        },
      },
    ],
  }
}

/** Memory over one run, by the share of its duration. */
export function memory({ measured }) {
  const values = Object.entries(measured).flatMap(([label, [{ memory: samples }]]) =>
    samples.map((rss, i) => ({
      done: i / Math.max(1, samples.length - 1),
      MiB: mib(rss),
      stream: plain(label),
    })),
  )
  const streams = Object.keys(measured).map(plain)
  return {
    title: {
      text: 'Memory does not grow with the stream',
      subtitle: 'resident memory of the process during the upload',
    },
    data: { values },
    width: 600,
    height: 220,
    mark: { type: 'line', strokeWidth: 2.5 },
    encoding: {
      x: {
        field: 'done',
        type: 'quantitative',
        title: 'share of the time of the upload',
        axis: { format: '.0%' },
      },
      y: { field: 'MiB', type: 'quantitative', title: 'MiB', scale: { zero: true } },
      color: {
        field: 'stream',
        type: 'nominal',
        scale: { domain: streams, range: [OURS, '#f59e0b', PEER] },
      },
      strokeDash: {
        field: 'stream',
        type: 'nominal',
        scale: {
          domain: streams,
          range: [
            [1, 0],
            [6, 3],
            [2, 2],
          ],
        },
      },
    },
  }
}
