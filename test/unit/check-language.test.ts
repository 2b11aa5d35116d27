import { describe, expect, test } from 'vitest';

const SCRIPT = new URL('../../scripts/check-language.mjs', import.meta.url).href;
// `as`: the script is JavaScript without declarations.
const { findingsIn } = (await import(SCRIPT)) as {
  readonly findingsIn: (file: string, text: string) => readonly { readonly line: number; readonly better: string }[];
};

/** The lines with findings, each with the better wording of its findings. */
function check(file: string, text: string): Record<number, string[]> {
  const found: Record<number, string[]> = {};
  for (const { line, better } of findingsIn(file, text)) (found[line] ??= []).push(better);
  return found;
}

const BEGINNING = 'name the thing first';
const STALL = 'stall';

test('each pattern is found in a comment', () => {
  const comments = [
    ...['What waits is sent.', 'Whatever waits.', 'Who asks is answered.', 'Whoever asks.', 'Whom it asks.'],
    ...['Of the delivery.', 'So many of them.', 'So much at a time.', 'So long it waits.', 'So often it looks.'],
    ...['It mends a row.', 'It is looked after.', 'A process that stands still.', 'Postgres is away.'],
    ...['It gives up soon.', 'The message comes again.', 'The sender is told.'],
  ];
  const found = check('patterns.ts', comments.map((comment) => `// ${comment}\n`).join(''));
  expect(Object.values(found).map(([first]) => first)).toEqual([
    ...Array.from({ length: 3 }, () => BEGINNING),
    ...['name the client, operator or process', ...Array.from({ length: 6 }, () => BEGINNING)],
    ...['fix', 'process', STALL, 'be unavailable', 'abort, time out', 'be redelivered, reconnect', 'be notified'],
  ]);
});

test('other forms of the verbs are found', () => {
  const lines = ['mended', 'looking after', 'stood still', 'were away', 'given up', 'coming again', 'being told'];
  expect(Object.keys(check('forms.md', lines.join('\n')))).toHaveLength(lines.length);
});

describe('in a program', () => {
  test('comments of every form, strings and names of tests are checked', () => {
    const text = [
      '/** What waits. */',
      '/**',
      ' * A queue.',
      ' * Of a tenant.',
      ' */',
      'const a = 1; // It stands still.',
      "log.info('the sender stands still');",
      'const b = `$' + '{a} stands still`;',
      "test('a sender stands still', () => {});",
      "builder.field({ description: 'Of the delivery.' });",
    ].join('\n');
    expect(check('program.ts', text)).toEqual({
      1: [BEGINNING],
      4: [BEGINNING],
      6: [STALL],
      7: [STALL],
      8: [STALL],
      9: [STALL],
      10: [BEGINNING],
    });
  });

  test('code, and the beginnings of strings other than descriptions, are not checked', () => {
    const text = [
      'const mend = { mended: /is away/ };',
      "wait({ name: 'What waits' });",
      'const Of = 1; // The field `Of the` of a row, and `mend`.',
      "const url = 'https://host/mending';",
    ].join('\n');
    expect(check('code.ts', text)).toEqual({ 4: ['fix'] });
  });

  test('a string that contains comment markers is not a comment', () => {
    expect(check('signs.ts', "const a = '// What waits'; const b = /[\\/\\/] mend/;")).toEqual({});
  });
});

describe('in a document', () => {
  test('paragraphs, headings, list items, cells and quotes are checked', () => {
    const lines = [
      'What waits',
      '## Who asks',
      '- Of a tenant',
      '1. So many of it',
      '| What waits | 1 |',
      '> **Of** it',
    ];
    expect(Object.keys(check('page.md', lines.join('\n')))).toEqual(['1', '2', '3', '4', '5']);
  });

  test('code and addresses are not checked', () => {
    const text = ['```js', '// What waits is away', '```', 'Not `is away`, [see](is away.md).'].join('\n');
    expect(check('code.md', text)).toEqual({});
  });
});

test('comments of SQL, Prisma and YAML are checked, their statements are not', () => {
  expect(check('a.sql', "-- What waits\nSELECT 'is away'; -- is away")).toEqual({
    1: [BEGINNING],
    2: ['be unavailable'],
  });
  expect(check('a.prisma', '/// Of a tenant\nmodel Mend {}')).toEqual({ 1: [BEGINNING] });
  expect(check('a.yml', '# Of a tenant\nrun: mend')).toEqual({ 1: [BEGINNING] });
});

test('questions, "of course", "told apart" and words inside sentences are allowed', () => {
  const text = [
    'What is a delivery?',
    'Who may read a row that',
    'belongs to nobody?',
    'Of course it is.',
    'Two sources can be told apart.',
    'Say what is wrong, and of which row.',
  ].join('\n');
  expect(check('allowed.md', text)).toEqual({});
});
