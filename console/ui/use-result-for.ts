import { useState } from 'react';

/**
 * The result for the input of a form: a count before a start, or a trial before a save. A result belongs to the input that led
 * to it: after an edit, also one before the answer, there is none.
 */
export function useResultFor<Result>(input: unknown) {
  const key = JSON.stringify(input);
  const [last, setLast] = useState<{ readonly key: string; readonly result: Result | undefined }>();
  return {
    result: last?.key === key ? last.result : undefined,
    setResult: (result: Result | undefined) => setLast({ key, result }),
  };
}
