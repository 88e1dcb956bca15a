// @ts-check
/**
 * What a component shows that has to be asked for.
 *
 *     const files = useLoad(() => get("/v1/files"), []);
 *     if (files.error) return html`<${Problem} error=${files.error} retry=${files.again} />`;
 *     if (!files.data) return html`<${Busy} />`;
 */
import { useCallback, useEffect, useState } from "preact/hooks";

const NOTHING_YET = { data: null, error: null, isLoading: true };

/**
 * @template T
 * @param {(signal: AbortSignal) => Promise<T>} ask
 * @param {any[]} keys asked again when one of them changes, without an answer meanwhile; `again` keeps what is there
 * @param {{every?: number}} [options] milliseconds after which it is asked again, while the page is seen
 * @returns {{data: T|null, error: any, isLoading: boolean, again: () => void}}
 */
export function useLoad(ask, keys, { every = 0 } = {}) {
  const key = JSON.stringify(keys);
  const [state, setState] = useState(/** @type {any} */ ({ key, ...NOTHING_YET }));
  const [round, setRound] = useState(0);
  const again = useCallback(() => setRound((one) => one + 1), []);
  useEffect(() => {
    const abort = new AbortController();
    /** @type {any} */
    let timer;
    setState((/** @type {any} */ old) => ({ key, ...NOTHING_YET, data: old.key === key ? old.data : null }));
    const run = async () => {
      try {
        if (!document.hidden || !every) {
          const data = await ask(abort.signal);
          if (!abort.signal.aborted) setState({ key, data, error: null, isLoading: false });
        }
      } catch (error) {
        if (abort.signal.aborted) return;
        setState((/** @type {any} */ old) => ({ ...old, error, isLoading: false }));
      }
      if (every && !abort.signal.aborted) timer = setTimeout(run, every);
    };
    run();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [key, every, round]);
  // Between a change of the keys and the effect there is one picture: the answer to other keys is not for it.
  const { data, error, isLoading } = state.key === key ? state : NOTHING_YET;
  return { data, error, isLoading, again };
}

/**
 * What is asked for again as long as it goes on, and once more when that has ended.
 * @template T
 * @param {(signal: AbortSignal) => Promise<T>} ask
 * @param {any[]} keys
 * @param {{every: number, isGoingOn: (data: T) => boolean}} options
 * @returns {{data: T|null, error: any, isLoading: boolean, again: () => void}}
 */
export function useLoadWhile(ask, keys, { every, isGoingOn }) {
  const [isPolled, setPolled] = useState(false);
  const found = useLoad(ask, keys, { every: isPolled ? every : 0 });
  const goesOn = found.data !== null && isGoingOn(found.data);
  useEffect(() => setPolled(goesOn), [goesOn]);
  return found;
}
