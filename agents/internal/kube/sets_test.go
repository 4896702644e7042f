package kube_test

import (
	"strings"
	"testing"

	"github.com/pgspan/pgspan/agents/internal/kube"
)

func TestPodOfAnotherLifeIsNotDeleted(t *testing.T) {
	c, k, ns := admin(t)
	pods := "/api/v1/namespaces/" + ns + "/pods"
	made := c.Do(t, "POST", pods, object{"metadata": object{"name": "a-0"}, "spec": object{"containers": []object{{"name": "c", "image": "none"}}}})
	uid := made["metadata"].(object)["uid"].(string)
	if err := k.DeletePod(t.Context(), "a-0", "another"); err != nil {
		t.Errorf("a pod that is gone already: %v", err)
	}
	if p, err := k.Pod(t.Context(), "a-0"); err != nil || p.UID != uid || p.Deleting {
		t.Fatalf("got %+v, %v: want it untouched", p, err)
	}
	for range 2 { // the second time there is none
		if err := k.DeletePod(t.Context(), "a-0", uid); err != nil {
			t.Error(err)
		}
	}
	if _, err := k.Pod(t.Context(), "a-0"); !kube.IsNotFound(err) {
		t.Errorf("got %v, want no pod", err)
	}
}

func TestNewestRevisionIsUnknownUntilTheTemplateWasSeen(t *testing.T) {
	c, k, ns := admin(t)
	sets, labels := "/apis/apps/v1/namespaces/"+ns+"/statefulsets", object{"app": "a"}
	c.Do(t, "POST", sets, object{"metadata": object{"name": "a"}, "spec": object{"replicas": 2, "serviceName": "a", "selector": object{"matchLabels": labels},
		"template": object{"metadata": object{"labels": labels}, "spec": object{"containers": []object{{"name": "c", "image": "none"}}}}}})
	for _, step := range []struct {
		observed int
		want     string
	}{{0, ""}, {1, "a-1"}} {
		c.Do(t, "PATCH", sets+"/a/status", object{"status": object{"replicas": 2, "observedGeneration": step.observed, "updateRevision": "a-1"}})
		if s, err := k.Set(t.Context(), "a"); err != nil || s.Newest != step.want || s.Replicas != 2 || s.Name != "a" {
			t.Errorf("observed %d: got %+v, %v, want %q", step.observed, s, err, step.want)
		}
	}
	c.Do(t, "PATCH", sets+"/a", object{"spec": object{"template": object{"metadata": object{"labels": object{"app": "a", "new": "yes"}}}}})
	if s, err := k.Set(t.Context(), "a"); err != nil || s.Newest != "" {
		t.Errorf("after a change that its controller has not seen: got %+v, %v", s, err)
	}
}

func TestPodSaysWhyItCannotStart(t *testing.T) {
	c, k, ns := admin(t)
	pods := "/api/v1/namespaces/" + ns + "/pods"
	c.Do(t, "POST", pods, object{"metadata": object{"name": "a-0"}, "spec": object{"containers": []object{{"name": "c", "image": "none"}}}})
	for reason, want := range map[string]string{"PodInitializing": "", "ImagePullBackOff": "ImagePullBackOff"} {
		c.Do(t, "PATCH", pods+"/a-0/status", object{"status": object{"containerStatuses": []object{{"name": "c", "image": "none", "imageID": "", "ready": false, "restartCount": 0,
			"state": object{"waiting": object{"reason": reason}}}}}})
		if p, err := k.Pod(t.Context(), "a-0"); err != nil || p.Waiting != want || p.Ready || !strings.HasPrefix(p.Name, "a-") {
			t.Errorf("%s: got %+v, %v", reason, p, err)
		}
	}
}
