import { type CORSOptions, isAsyncIterable, type Plugin } from 'graphql-yoga';

const JSON_TYPE = /^application\/(?:graphql\+)?json *(?:;|$)/i;

/**
 * CORS: only pages of the listed origins may read responses. `credentials` is false, as there are no cookies: a page must
 * send an API key itself.
 */
export function createCors(origins: readonly string[]): false | ((request: Request) => CORSOptions) {
  // Otherwise Yoga answers every OPTIONS request.
  if (origins.length === 0) return false;
  return (request) => {
    const origin = request.headers.get('origin');
    if (origin === null || !origins.includes(origin)) return false;
    return {
      origin: [origin],
      credentials: false,
      methods: ['GET', 'POST'],
      maxAge: 600,
      exposedHeaders: ['retry-after'],
    };
  };
}

/** Prevents CSRF: browsers send JSON across origins only after a preflight, and form content types without one. */
export function requireJson(): Plugin {
  return {
    onRequestParse: ({ request, fetchAPI, endResponse }) => {
      if (request.method !== 'POST' || JSON_TYPE.test(request.headers.get('content-type') ?? '')) return;
      const message = 'send the operation as application/json';
      const body = JSON.stringify({ errors: [{ message, extensions: { code: 'UNSUPPORTED_MEDIA_TYPE' } }] });
      endResponse(new fetchAPI.Response(body, { status: 415, headers: { 'content-type': 'application/json' } }));
    },
  };
}

/** Answers 406 with the reason if the client accepts no media type of the result. Yoga would send no body. */
export function requireAccept(): Plugin {
  return {
    onResultProcess: (hook) => {
      if (hook.resultProcessor !== undefined) return;
      const { result, acceptableMediaTypes } = hook;
      // Otherwise the stream would stay open, and count towards the limits, until the server stops.
      if (isAsyncIterable(result)) void result[Symbol.asyncIterator]().return?.();
      const accept = [...new Set(acceptableMediaTypes)].join(', ');
      const message = `the result needs one of these types in the header accept: ${accept}`;
      const body = JSON.stringify({ errors: [{ message, extensions: { code: 'NOT_ACCEPTABLE' } }] });
      hook.setResultProcessor((_result, fetchAPI) => {
        const headers = { 'content-type': 'application/json', accept };
        return new fetchAPI.Response(body, { status: 406, statusText: 'Not Acceptable', headers });
      }, 'application/json');
    },
  };
}
