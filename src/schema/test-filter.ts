import { type InputProblem, InvalidInputError } from '../lib/webhook-subscription-errors.ts';
import { compileFilter } from '../events/matching/payload-filter.ts';
import { failedPaths } from '../events/matching/payload-filter-failures.ts';
import { validateFilter } from '../events/matching/filter-validation.ts';
import { builder } from './builder.ts';
import { encodeEventData } from './event-data-input.ts';

const TestFilterResult = builder.objectRef<{ readonly failedPaths: string[] }>('TestFilterResult').implement({
  description: 'What a payload filter makes of some data.',
  fields: (t) => ({
    matches: t.boolean({
      description: 'Whether an event with this data would be delivered.',
      resolve: (result) => result.failedPaths.length === 0,
    }),
    failedPaths: t.exposeStringList('failedPaths', {
      description:
        'The conditions that are not fulfilled: `filter.user.age.$gt`. Of a `$or`, a `$not`, or fields of an array, the whole.',
    }),
  }),
});

builder.queryField('testFilter', (t) =>
  t.field({
    type: TestFilterResult,
    description: 'Tries a payload filter on data, before a webhook subscription gets it.',
    args: {
      filter: t.arg({
        type: 'JSON',
        required: true,
        description: 'As docs/payload-filters.md says, with the limits of a webhook subscription. It must be valid.',
      }),
      data: t.arg({ type: 'JSON', required: true, description: 'At most 1 MiB.' }),
    },
    // Some 30 ms with data of a megabyte, in pieces: one operation can have 19 of them.
    complexity: 5_000,
    resolve: async (_root, { filter, data }, { work: { compute } }) => {
      const wrong = await compute(() => validateFilter(filter));
      const problems = [...wrong, ...problemsOf(await encodeEventData(compute, data))];
      if (problems.length > 0) throw new InvalidInputError(problems);
      if (await compute(() => compileFilter(filter)(data))) return { failedPaths: [] };
      return { failedPaths: await compute(() => failedPaths(filter, data)) };
    },
  }),
);

function problemsOf({ problem }: Awaited<ReturnType<typeof encodeEventData>>): InputProblem[] {
  return problem === undefined ? [] : [{ path: 'data', message: problem }];
}
