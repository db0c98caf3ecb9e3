/** Plots, drawn by Vega. Each function returns a Vega-Lite specification. */
import { parse, View } from 'vega'
import { compile } from 'vega-lite'
import { mib, median, rates } from './figures.mjs'
import { nameOf } from './cases/part-size.mjs'

export async function svgOf(specification) {
  const config = {
    background: 'white',
    font: 'sans-serif',
    axis: { labelFontSize: 11, titleFontSize: 11 },
    view: { stroke: null },
    legend: { labelLimit: 300 },
  }
  const { spec } = compile({ ...specification, config })
  return slim(await new View(parse(spec), { renderer: 'none' }).toSVG())
}

/** Removes the half of Vega's SVG that an image does not show: roles, empty paths and names of classes. */
function slim(svg) {
  return svg
    .replaceAll(/ (?:aria-[\w-]+|role|class|pointer-events)="[^"]*"/g, '')
    .replaceAll(/<path[^>]* display="none"\/>|<path d="M0,0h0v0h0Z"\/>/g, '')
}

const plain = label => label.replaceAll('`', '')

/** Bar chart, with oss-spool in another colour. */
export function throughput({ measured }, size) {
  const values = Object.entries(measured)
    .map(([label, all]) => ({
      label: plain(label),
      rate: Math.round(median(rates(size, all))),
      ours: label === 'oss-spool',
    }))
    .toSorted((a, b) => b.rate - a.rate)
  return {
    data: { values },
    width: 420,
    height: { step: 22 },
    encoding: {
      y: { field: 'label', type: 'nominal', sort: null, title: null, axis: { labelLimit: 300 } },
      x: { field: 'rate', type: 'quantitative', title: 'MB/s, median' },
    },
    layer: [
      {
        mark: 'bar',
        encoding: {
          color: {
            field: 'ours',
            type: 'nominal',
            scale: { domain: [true, false], range: ['#c2410c', '#94a3b8'] },
            legend: null,
          },
        },
      },
      {
        mark: { type: 'text', align: 'left', dx: 4 },
        encoding: { text: { field: 'rate', type: 'quantitative' } },
      },
    ],
  }
}

/** Share of the link's speed for each setting. */
export function partSize({ measured }) {
  const values = measured.map(({ link, latency, partSize: bytes, parallel, rate }) => ({
    link: `${link} MB/s`,
    latency: `${latency} ms`,
    bytes,
    part: nameOf(bytes),
    parallel: String(parallel),
    share: Math.min(1, rate / link),
    rate: Math.round(rate),
  }))
  return {
    data: { values },
    facet: {
      row: { field: 'link', title: 'link', sort: { field: 'link' }, header: { labelAngle: 0 } },
      column: { field: 'latency', title: 'latency', sort: ['0 ms', '20 ms', '100 ms'] },
    },
    spec: {
      width: { step: 44 },
      height: { step: 22 },
      encoding: {
        x: { field: 'part', type: 'ordinal', sort: { field: 'bytes' }, title: 'part size' },
        y: {
          field: 'parallel',
          type: 'ordinal',
          sort: ['1', '5', '16', '32'],
          title: 'in flight',
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
              legend: { title: 'of the link', format: '.0%' },
            },
          },
        },
        {
          mark: { type: 'text', fontSize: 10 },
          encoding: {
            text: { field: 'rate', type: 'quantitative' },
            color: {
              condition: { test: 'datum.share > 0.6', value: 'black' },
              value: 'white',
            },
          },
        },
      ],
    },
  }
}

/** Bytes in the spool and on OSS over one run. */
export function overlap({ measured }) {
  const [{ timeline }] = measured['oss-spool']
  const values = timeline.flatMap(([ms, spooled, uploaded]) => [
    { seconds: ms / 1000, MB: spooled / 1e6, where: 'in the spool' },
    { seconds: ms / 1000, MB: uploaded / 1e6, where: 'on OSS' },
  ])
  return lines(values, { x: 'seconds', y: 'MB', color: 'where' })
}

/** Memory over one run, by the share of its duration. */
export function memory({ measured }) {
  const values = Object.entries(measured).flatMap(([label, [{ memory: samples }]]) =>
    samples.map((rss, i) => ({
      'part of the run': i / Math.max(1, samples.length - 1),
      MiB: mib(rss),
      stream: plain(label),
    })),
  )
  return lines(values, { x: 'part of the run', y: 'MiB', color: 'stream' })
}

function lines(values, { x, y, color }) {
  return {
    data: { values },
    width: 480,
    height: 240,
    mark: { type: 'line', strokeWidth: 1.5 },
    encoding: {
      x: { field: x, type: 'quantitative' },
      y: { field: y, type: 'quantitative', title: y, scale: { zero: true } },
      color: { field: color, type: 'nominal', title: null },
    },
  }
}
