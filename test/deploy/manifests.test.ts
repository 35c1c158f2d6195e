import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';

import { describe, expect, it, onTestFinished } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';

import { serveCommand } from '../../lib/cli/serve.js';
import type { Session } from '../../lib/cli/session.js';
import { ROUTES } from '../../lib/service/routes.js';
import { findClients } from '../service/clients/python.js';
import { load, serve } from '../service/support.js';
import { ROOT } from '../support/python.js';

const textOf = (file: string): string => readFileSync(path.join(ROOT, 'deploy', file), 'utf8');

interface Container {
  readonly image: string;
  readonly args?: readonly string[];
  readonly command?: readonly string[];
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  readonly [probe: `${string}Probe`]: { readonly httpGet: { readonly path: string; readonly port: string | number } };
  readonly securityContext: object;
}
/** A part of a manifest: whatever is looked for in it. */
interface Part {
  readonly [key: string]: Part;
}
interface Manifest {
  readonly kind: string;
  readonly spec: Part;
}
const manifestsOf = (file: string): Manifest[] =>
  parseAllDocuments(textOf(file)).map((document) => {
    expect([...document.errors, ...document.warnings]).toEqual([]);
    return document.toJS() as Manifest;
  });
const kubernetes = manifestsOf('kubernetes.yaml');
const kserve = manifestsOf('kserve.yaml');
const all = [...kubernetes, ...kserve];
const ofKind = (kind: string): Manifest => all.find((manifest) => manifest.kind === kind)!;
const pod = ofKind('Deployment').spec['template']!['spec'] as unknown as {
  readonly containers: readonly Container[];
  readonly terminationGracePeriodSeconds: number;
};
const [served] = pod.containers as [Container];
const [predictor] = ofKind('InferenceService').spec['predictor']!['containers'] as unknown as [Container];
const [explainer] = ofKind('InferenceService').spec['explainer']!['containers'] as unknown as [Container];
const containers = [
  ['the Deployment', served],
  ['the predictor', predictor],
  ['the explainer', explainer],
] as const;

const python = findClients();

/** What the clients of Kubernetes and KServe find wrong. */
function problemsOf(manifests: readonly unknown[]): string[] {
  const { stdout, stderr, status } = spawnSync(
    python!,
    ['-W', 'ignore', path.join(import.meta.dirname, 'manifests.py')],
    {
      input: JSON.stringify(manifests),
      encoding: 'utf8',
    },
  );
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as string[];
}

describe.skipIf(python === null)('manifests', () => {
  it("are as Kubernetes' and KServe's own clients know them", () => {
    expect(all.map(({ kind }) => kind)).toEqual([
      'Deployment',
      'Service',
      'PodDisruptionBudget',
      'HorizontalPodAutoscaler',
      'InferenceService',
    ]);
    expect(problemsOf(all)).toEqual([]);
  });

  it('would not be, with a word that is none', () => {
    const broken = (manifest: Manifest, from: string, to: string): unknown =>
      JSON.parse(JSON.stringify(manifest).replace(from, to));
    const wrong = [
      broken(ofKind('Deployment'), '"terminationGracePeriodSeconds"', '"gracePeriodSeconds"'),
      broken(ofKind('Deployment'), '"containerPort":8080', '"containerPort":"http"'),
      broken(ofKind('HorizontalPodAutoscaler'), '"averageValue"', '"mean"'),
      broken(ofKind('InferenceService'), '"minReplicas":1', '"minReplicas":"one"'),
      broken(ofKind('InferenceService'), '"timeout"', '"deadline"'),
      broken(ofKind('InferenceService'), '"readOnlyRootFilesystem"', '"readOnly"'),
    ];
    for (const manifest of wrong) expect(problemsOf([manifest])).toHaveLength(1);
  });
});

describe('manifests', () => {
  it.each(containers)('of %s give arguments that `sightline serve` takes', (_name, { args, command }) => {
    const given = args ?? command![2]!.split('serve ')[1]!.split(' ');
    const parsed = serveCommand({} as Session)
      .exitOverride()
      .parseOptions([...given]);
    expect(parsed).toEqual({ operands: [], unknown: [] });
  });

  it.each(containers)('of %s ask for health where no token is asked for', (_name, container) => {
    const probes = Object.entries(container).filter(([key]) => key.endsWith('Probe')) as [
      string,
      Container[`${string}Probe`],
    ][];
    expect(probes.length).toBeGreaterThan(1);
    for (const [, { httpGet }] of probes) {
      const route = ROUTES.find(({ method, path: at }) => method === 'GET' && at === httpGet.path);
      expect(route?.isOpen, httpGet.path).toBe(true);
      const [{ name, containerPort }] = container.ports as [Container['ports'][number]];
      expect([name, containerPort]).toContain(httpGet.port);
    }
  });

  it.each(containers)('let %s write nothing, and be nobody', (_name, { securityContext }) => {
    expect(securityContext).toMatchObject({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
  });

  it('name the image and the port of the Dockerfiles', () => {
    const dockerfile = textOf('cpu.Dockerfile');
    for (const [, { image, ports }] of containers) {
      expect(dockerfile).toContain(`-t ${image} .`);
      expect(dockerfile).toContain(`EXPOSE ${ports[0]!.containerPort}`);
    }
  });

  it('give a pod the time to answer what it accepted', () => {
    const option = (name: string): number => Number(served.args![served.args!.indexOf(name) + 1]);
    const { preStop } = (served as unknown as { lifecycle: { preStop: { exec: { command: [string, string] } } } })
      .lifecycle;
    const [deadline, drain, stop] = [option('--deadline') / 1000, option('--drain'), Number(preStop.exec.command[1])];
    expect(deadline).toBeLessThan(drain);
    // And a second for the answers of what was aborted.
    expect(stop + drain + 1).toBeLessThan(pod.terminationGracePeriodSeconds);
  });

  it('scale by metrics that the service has, and that the adapter reads', async () => {
    const model = await load('resnet-tiny-shapes');
    const { address, stop } = await serve({ models: { model } });
    onTestFinished(async () => {
      await stop();
      await model.close();
    });
    const metrics = await (await fetch(`${address}/metrics`)).text();
    const adapter = parse(textOf('prometheus-adapter.yaml')) as {
      readonly rules: { readonly custom: readonly { readonly seriesQuery: string }[] };
    };
    const { seriesQuery } = adapter.rules.custom[0]!;
    const query = new RegExp(`^(?:${/__name__=~"([^"]+)"/.exec(seriesQuery)![1]})$`);
    const scaled = ofKind('HorizontalPodAutoscaler').spec['metrics'] as unknown as readonly {
      readonly pods: { readonly metric: { readonly name: string } };
    }[];
    const names = scaled.map(({ pods }) => pods.metric.name);
    expect(names.length).toBe(2);
    for (const name of names) {
      expect(metrics).toMatch(new RegExp(`^${name} \\d`, 'm'));
      expect(name).toMatch(query);
    }
  });
});
