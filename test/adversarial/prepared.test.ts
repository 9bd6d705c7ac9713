import { useAdversary } from '../harness/adversary.ts';
await useAdversary(['connections'], '../integration/prepared.test.ts');
