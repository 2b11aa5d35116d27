import { readdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';

/** A V8 CPU profile, as `node --cpu-prof` writes it; times in microseconds. */
type Profile = {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
};

/** The percentage of the CPU time without idle time. */
export type Share = { readonly name: string; readonly percent: number };
export type Costs = { readonly file: string; readonly functions: readonly Share[]; readonly modules: readonly Share[] };

const ROOT = join(import.meta.dirname, '..');

/** Reads the only profile in the folder. Returns the self time of functions, and of packages and folders of `dist`. */
export async function readCosts(folder: string): Promise<Costs> {
  const [name] = (await readdir(folder)).filter((file) => file.endsWith('.cpuprofile'));
  if (name === undefined) throw new Error(`there is no profile in ${folder}`);
  const file = join(folder, name);
  const profile = JSON.parse(await readFile(file, 'utf8')) as Profile; // as V8 writes it
  const frames = new Map(profile.nodes.map(({ id, callFrame }) => [id, callFrame]));
  const functions = new Map<string, number>();
  const modules = new Map<string, number>();
  let total = 0;
  profile.samples.forEach((id, index) => {
    const frame = frames.get(id);
    const time = profile.timeDeltas[index] ?? 0;
    if (frame === undefined || frame.functionName === '(idle)') return;
    total += time;
    const place = placeOf(frame.url);
    const at = frame.url === '' ? '' : ` ${place}:${frame.lineNumber + 1}`;
    add(functions, `${frame.functionName || '(anonymous)'}${at}`, time);
    add(modules, frame.url === '' ? frame.functionName : moduleOf(place), time);
  });
  return { file, functions: sharesOf(functions, total), modules: sharesOf(modules, total) };
}

function add(times: Map<string, number>, name: string, time: number): void {
  times.set(name, (times.get(name) ?? 0) + time);
}

function sharesOf(times: ReadonlyMap<string, number>, total: number): Share[] {
  return [...times]
    .map(([name, time]) => ({ name, percent: (100 * time) / total }))
    .sort((a, b) => b.percent - a.percent);
}

function placeOf(url: string): string {
  return url.startsWith('file:') ? relative(ROOT, new URL(url).pathname) : url;
}

/** The package (`got`), the program's folder (`dist/delivery`) or the built-in module (`node:http`) of a file. */
function moduleOf(place: string): string {
  const packaged = /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(place)?.[1];
  return (
    packaged ?? (place.startsWith('node:') ? (place.split('/')[0] ?? place) : place.split('/').slice(0, 2).join('/'))
  );
}
