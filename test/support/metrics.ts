type Sample = {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
};

type MetricFamily = { readonly name: string; readonly type: string; readonly help: string };

/** Parsed result of a scrape. */
export type Metrics = {
  readonly families: readonly MetricFamily[];
  readonly samples: readonly Sample[];
  /** The value of the sample with exactly these labels; undefined if there is none. */
  readonly valueOf: (name: string, labels?: Readonly<Record<string, string>>) => number | undefined;
};

/** Requests the metrics as Prometheus does. */
export async function scrape({ url, adminApiKey }: { url: string; adminApiKey: string }): Promise<Metrics> {
  const response = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${adminApiKey}` } });
  if (response.status !== 200) throw new Error(`/metrics answered ${response.status}`);
  return parseMetrics(await response.text());
}

function parseMetrics(text: string): Metrics {
  const lines = text.split('\n').filter((line) => line !== '');
  const samples = lines.filter((line) => !line.startsWith('#')).map(parseSample);
  return {
    families: lines.filter((line) => line.startsWith('# HELP ')).map((line) => parseFamily(line, lines)),
    samples,
    valueOf: (name, labels = {}) => samples.find((one) => one.name === name && isSame(one.labels, labels))?.value,
  };
}

function parseFamily(line: string, lines: readonly string[]): MetricFamily {
  const [, name = '', help = ''] = /^# HELP (\S+) (.*)$/.exec(line) ?? [];
  const type = lines.find((one) => one.startsWith(`# TYPE ${name} `))?.split(' ')[3] ?? '';
  return { name, help, type };
}

function parseSample(line: string): Sample {
  const [, name, labels = '', value] = /^([a-zA-Z_]\w*)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
  if (name === undefined) throw new Error(`not a line of Prometheus's text format: ${line}`);
  const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key = '', text = '']) => [key, text]);
  return { name, labels: Object.fromEntries(pairs) as Record<string, string>, value: Number(value) };
}

function isSame(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}
