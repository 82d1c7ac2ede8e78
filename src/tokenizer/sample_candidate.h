/*
 * The part of drawing a sample that the executor does, in parallel workers where a plan has some.
 */
#ifndef SEMTOK_SAMPLE_CANDIDATE_H
#define SEMTOK_SAMPLE_CANDIDATE_H

/* May the current user execute semtok.sample_candidate(real[], bigint, bigint)? */
extern bool SampleCandidateUsable(void);

#endif
