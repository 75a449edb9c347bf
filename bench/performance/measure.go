package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"tidings/bench/machine"
	"tidings/bench/profile"
	"tidings/bench/scenario"
	"tidings/bench/target"
)

// measure runs the steps whose names match, one after the other. A step that fails is noted and the others go on; so is the
// end of ctx, behind which nothing is measured.
func measure(ctx context.Context, o *options, steps []step, only *regexp.Regexp) (*data, error) {
	m, err := machine.Read(ctx, os.TempDir())
	if err != nil {
		return nil, err
	}
	d := &data{Begun: time.Now().UTC(), Quick: o.quick, Machine: m}
	dir, err := os.MkdirTemp("", "bench-profile-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	profiled := ""
	for i, s := range steps {
		if !only.MatchString(s.Name) {
			continue
		}
		begun := time.Now()
		fmt.Fprintf(os.Stderr, "%d of %d: %s\n", i+1, len(steps), s.Name)
		done := d.runStep(ctx, s)
		if s.profile && ctx.Err() == nil {
			if profiled == "" {
				if profiled, err = target.BuildProfiled(ctx, dir); err != nil {
					return nil, err
				}
			}
			done.addProfile(ctx, profiled, filepath.Join(dir, s.Name+".pprof"))
		}
		fmt.Fprintf(os.Stderr, "  %v\n", time.Since(begun).Round(time.Second))
		d.Steps = append(d.Steps, done)
		d.Ended = time.Now().UTC()
		if err := d.save(o.dir); err != nil { // so that a run that is cut off has not been for nothing
			return nil, err
		}
	}
	return d, nil
}

// runStep runs the rounds of a step, in each all its targets.
func (d *data) runStep(ctx context.Context, s step) *stepData {
	done := &stepData{step: s}
	for round := range s.Rounds {
		for _, name := range s.Targets {
			if ctx.Err() != nil {
				done.fail(round, name, ctx.Err())
				return done
			}
			d.rest(ctx)
			r, err := target.Use(ctx, name, target.Options{}, func(t target.Target) (*scenario.Result, error) {
				return scenario.Run(ctx, t, s.Mode, s.Config, func(string, ...any) {})
			})
			if err != nil {
				done.fail(round, name, err)
				continue
			}
			done.Results = append(done.Results, r)
		}
	}
	return done
}

// rest lets the disk finish what the run before has left to it.
func (d *data) rest(ctx context.Context) {
	if d.Quick {
		return
	}
	select {
	case <-time.After(500 * time.Millisecond):
	case <-ctx.Done():
	}
}

func (s *stepData) fail(round int, name string, err error) {
	fmt.Fprintf(os.Stderr, "  round %d on %s failed: %v\n", round+1, name, err)
	if errors.Is(err, errors.ErrUnsupported) {
		return
	}
	s.Failures = append(s.Failures, fmt.Sprintf("round %d on %s: %v", round+1, name, firstLine(err)))
}

// addProfile runs the step once more and keeps what CPU time went to. The figures of that run count for nothing.
func (s *stepData) addProfile(ctx context.Context, bin, file string) {
	_, err := target.Use(ctx, "tidings", target.Options{Bin: bin, Profile: file}, func(t target.Target) (*scenario.Result, error) {
		return scenario.Run(ctx, t, s.Mode, s.Config, func(string, ...any) {})
	})
	if err == nil {
		s.Profile, err = profile.Of(ctx, bin, file)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "  profile failed: %v\n", err)
		s.Failures = append(s.Failures, "profile: "+firstLine(err))
	}
}
