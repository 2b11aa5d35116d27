type Load<Query, Answer> = (keys: readonly string[], query: Query) => Promise<ReadonlyMap<string, Answer>>;
type Batch<Answer> = { readonly keys: Set<string>; readonly answers: Promise<ReadonlyMap<string, Answer>> };

/**
 * Combines the keys that are requested with the same query in one turn of the event loop into one call of `load`.
 * Rejects a key without an answer.
 */
export function batched<Query, Answer>(load: Load<Query, Answer>): (key: string, query: Query) => Promise<Answer> {
  const batches = new Map<string, Batch<Answer>>();
  return async (key, query) => {
    const name = JSON.stringify(query);
    const batch = batches.get(name) ?? startBatch(() => batches.delete(name), { load, query });
    batches.set(name, batch);
    batch.keys.add(key);
    const answers = await batch.answers;
    const answer = answers.get(key);
    if (answer === undefined) throw new Error(`there is no answer for ${key}`);
    return answer;
  };
}

function startBatch<Query, Answer>(
  close: () => void,
  { load, query }: { readonly load: Load<Query, Answer>; readonly query: Query },
): Batch<Answer> {
  const keys = new Set<string>();
  const endOfTurn = new Promise<void>((resolve) => {
    setImmediate(resolve);
  });
  const answers = endOfTurn.then(() => {
    close();
    return load([...keys], query);
  });
  return { keys, answers };
}
